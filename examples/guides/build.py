"""Build the reference: the guides beside this file, then every public name with its docstring.

python examples/guides/build.py [--out build/docs]

Needs the extra `docs` (pdoc).
"""

import argparse
import importlib.util
import pkgutil
import re
import types
import warnings
from pathlib import Path

HERE = Path(__file__).parent
# In the order in which they are read; `index.md` lists them.
GUIDES = ["index", "autograd", "own_op", "adding", "devices", "word_vectors", "compiled_steps"]
# Of these nothing is for users: what the library is built on, and tools of its developers.
INTERNAL = ["__main__", "backend", "boundary", "cli", "contexts", "devtools", "files"]
INTERNAL += ["protocols", "underived"]
HOME = '<meta http-equiv="refresh" content="0; url=guides.html"/>\n'


def guides():
    """(name of its page, text) of every guide, whose links lead to the pages."""
    for name in GUIDES:
        text = (HERE / f"{name}.md").read_text(encoding="utf-8")
        page = "guides" if name == "index" else f"guides.{name}"
        folder = "guides/" if name == "index" else ""
        yield page, re.sub(r"\]\((\w+)\.md\)", rf"]({folder}\1.html)", text)


def rooms():
    """The public modules and packages of minitorch, without what lies in them."""
    (package,) = importlib.util.find_spec("minitorch").submodule_search_locations
    found = (module.name for module in pkgutil.iter_modules([package]))
    return ["minitorch", *(f"minitorch.{name}" for name in found if name not in INTERNAL)]


def reference():
    """The pages by their names, as pdoc's modules: guides, and the public modules."""
    from pdoc import doc, extract

    # What pdoc cannot evaluate, it shows as it stands: annotations with `int` in a class that has a
    # method of that name, a stub. The modules that `viz` passes on have pages of their own.
    for text in ("Error parsing type (annotation|stubs)", "Found 'p.*' in minitorch.viz"):
        warnings.filterwarnings("ignore", text)
    names = dict.fromkeys(name for room in rooms() for name in extract.walk_specs([room]))
    pages = {page: doc.Module(types.ModuleType(page, text)) for page, text in guides()}
    pages |= {name: doc.Module.from_name(name) for name in names}
    for page in pages.values():
        for kind in page.members.values():
            if isinstance(kind, doc.Class):
                adopt(kind, pages)
    return pages


def adopt(kind, pages):
    """Let a class show what it inherits from classes whose modules have no page to link to."""
    for member in kind.members.values():
        module = member.taken_from[0]
        if module.startswith("minitorch.") and module not in pages:
            member.taken_from = kind.modulename, member.qualname


def build(out):
    """Write the pages, and `search.js` and `index.html` beside them."""
    from pdoc import render

    pages = reference()
    for name, page in pages.items():
        path = out / f"{name.replace('.', '/')}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render.html_module(page, pages), encoding="utf-8")
    (out / "search.js").write_text(render.search_index(pages), encoding="utf-8")
    (out / "index.html").write_text(HOME, encoding="utf-8")
    return len(pages)


def main():
    """Write all pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="build/docs", help="folder of the pages")
    out = Path(parser.parse_args().out)
    print(f"{build(out)} pages: {out / 'index.html'}")


if __name__ == "__main__":
    main()
