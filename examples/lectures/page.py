"""Run the lectures and put their code, what they print and what they draw on one HTML page.

python examples/lectures/page.py [SCRIPT ...] [--out demo/lectures]

A script prints a heading over a line of dashes, then what belongs under it, and for each picture
or page "see PATH: what one sees". Under the heading stands the function that printed it.
"""

import argparse
import ast
import html
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ["graphs.py", "four_ways.py", "cost.py", "learning.py", "playground.py", "../words.py"]
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
pre { font-size: 13px; padding: 0.8rem; margin: 0.5rem 0; overflow-x: auto }
pre.text { background: #f5f6f8 }
pre.code { border: 1px solid #ddd }
summary { cursor: pointer; color: #555 }
section { display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: flex-start }
section h3, section details { flex: 0 0 100%; min-width: 0; margin-bottom: 0 }
section pre.text { flex: 1 1 20rem; box-sizing: border-box; max-width: 100% }
figure { margin: 0.5rem 0; flex: 0 1 auto }
figure img { max-width: 100%; height: auto; border: 1px solid #ddd; box-sizing: border-box }
figure.half { width: calc(50% - 0.5rem) }
figcaption { font-size: 14px }
.left-out { color: #b3261e; flex: 0 0 100% }
"""


def output_of(script, folder):
    """The lines that a script prints, whose pictures go to the folder; progress is shown."""
    print(script, flush=True)
    command = [sys.executable, "-u", str(HERE / script), "--out", str(folder)]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, encoding="utf-8", env=environment
    ) as running:
        for line in running.stdout:
            lines.append(line.rstrip("\n"))
            if is_heading(lines, len(lines) - 1):
                print(f"  {lines[-2]}", flush=True)
            elif line.startswith("left out: "):
                print(f"    {lines[-1]}", flush=True)
    if running.returncode:
        raise SystemExit(f"{script} failed")
    return lines


def is_heading(lines, i):
    """Whether a line of dashes underlines the line before it."""
    return i > 0 and lines[i - 1] != "" and lines[i] == "-" * len(lines[i - 1])


def sections(lines):
    """(heading, lines) of what a script prints."""
    heads = [i for i in range(1, len(lines)) if is_heading(lines, i)]
    for i, after in zip(heads, [*(h - 1 for h in heads[1:]), len(lines)]):
        yield lines[i - 1], lines[i + 1 : after]


def functions(source):
    """By name of a function of a module: its lines, and the names that it uses."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
            found[node.name] = ast.get_source_segment(source, node), names
    return found


def heading_of(function):
    """A regular expression for what a function gives to `heading`; None if it has none."""
    for call in ast.walk(ast.parse(function)):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "heading":
            (text,) = call.args
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            return "".join(
                re.escape(part.value) if isinstance(part, ast.Constant) else ".*" for part in parts
            )
    return None


def code_of(heading, source, shown):
    """The function that prints a heading, and those it uses that have not been shown."""
    known = functions(source)
    for name, (text, _) in known.items():
        if (pattern := heading_of(text)) and re.fullmatch(pattern, heading):
            used = {name}
            while more := {use for one in used for use in known[one][1]} & known.keys() - used:
                used |= more
            new = [text for other, (text, _) in known.items() if other in used - shown]
            shown |= used
            return "\n\n\n".join(new)
    return ""


def size_of(path):
    """Pictures of up to 900 pixels stand beside another, or beside text."""
    width = int.from_bytes(path.read_bytes()[16:20], "big")  # of a PNG
    return "half" if path.suffix == ".png" and width <= 900 else "whole"


def shown_file(path, sentence, out):
    """The HTML of a picture, or of a link to a page, with what one sees there."""
    source = html.escape(path.relative_to(out).as_posix())
    if path.suffix == ".html":
        return f'<p><a href="{source}">{html.escape(path.stem)}</a>: {sentence}</p>'
    label = html.escape(path.stem.replace("-", " "))
    return (
        f'<figure class="{size_of(path)}"><img src="{source}" alt="{label}">'
        f"<figcaption>{sentence}</figcaption></figure>"
    )


def section(heading, lines, code, out):
    """The HTML of one section: code, text, pictures."""
    text, files = [], []
    for line in lines:
        if found := re.fullmatch(r"see (.+?\.\w+): (.*)", line):
            files.append(shown_file(Path(found[1]), html.escape(found[2]), out))
        elif line.startswith("left out: "):
            files.append(f'<p class="left-out">{html.escape(line)}</p>')
        else:
            text.append(line)
    parts = [f"<section><h3>{html.escape(heading)}</h3>"]
    if code:
        code = f'<pre class="code">{html.escape(code)}</pre>'
        parts.append(f"<details open><summary>the code</summary>{code}</details>")
    if body := "\n".join(text).strip("\n"):
        parts.append(f'<pre class="text">{html.escape(body)}</pre>')
    return "\n".join([*parts, *files, "</section>"])


def part(script, out):
    """The HTML of one script."""
    name = Path(script).stem
    source = (HERE / script).read_text(encoding="utf-8")
    title = ast.get_docstring(ast.parse(source)).splitlines()[0].rstrip(".")
    shown = {"heading", "see"}
    parts = [f'<h2 id="{name}">{html.escape(title)}</h2>']
    for heading, lines in sections(output_of(script, out / name)):
        parts.append(section(heading, lines, code_of(heading, source, shown), out))
    return title, name, "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", default=SCRIPTS, help="beside this file")
    parser.add_argument("--out", type=Path, default=Path("demo/lectures"))
    args = parser.parse_args()
    parts = [part(script, args.out) for script in args.scripts]
    links = "".join(f'<li><a href="#{n}">{html.escape(title)}</a></li>' for title, n, _ in parts)
    page = args.out / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>The lectures</title><style>{STYLE}</style></head>\n"
        f"<body><h1>The lectures, with minitorch</h1><ul>{links}</ul>\n"
        + "\n".join(text for _, _, text in parts)
        + "\n</body></html>\n",
        encoding="utf-8",
    )
    print(page)


if __name__ == "__main__":
    main()
