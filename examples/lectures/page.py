"""Run the lectures and put what they print and draw on one HTML page.

python examples/lectures/page.py [SCRIPT ...] [--out demo/lectures]
"""

import argparse
import html
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ["graphs.py", "four_ways.py", "cost.py", "learning.py", "playground.py", "../words.py"]
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
pre { font-size: 14px; background: #f5f6f8; padding: 0.8rem; overflow-x: auto }
figure { display: inline-block; vertical-align: top; margin: 0.5rem }
figure img { max-width: 100%; height: auto; border: 1px solid #ddd; box-sizing: border-box }
figure.half { width: calc(50% - 1.2rem) }
figcaption { font-size: 13px; color: #555 }
"""


def output_of(script, folder):
    """What a script prints; its pictures go to the folder."""
    command = [sys.executable, str(HERE / script), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr}")
    lines = done.stdout.splitlines()  # but for that which says where the pictures are: here
    return "\n".join(line for line in lines if not line.startswith("pictures "))


def sections(text):
    """(heading, lines) of what a script prints: a heading stands over a line of dashes."""
    lines = text.splitlines()
    heads = [
        i for i in range(1, len(lines)) if lines[i - 1] and lines[i] == "-" * len(lines[i - 1])
    ]
    for i, after in zip(heads, [*(h - 1 for h in heads[1:]), len(lines)]):
        yield lines[i - 1], "\n".join(lines[i + 1 : after]).strip("\n")


def pictures(folder):
    """The pictures in order of name; of one that is there as SVG and otherwise, the SVG."""
    vectors = {path.stem for path in folder.glob("*.svg")}
    found = [p for p in sorted(folder.iterdir()) if p.suffix in (".svg", ".png", ".gif")]
    return [p for p in found if p.suffix == ".svg" or p.stem not in vectors]


def size_of(path):
    """Pictures of up to 800 pixels stand side by side."""
    width = int.from_bytes(path.read_bytes()[16:20], "big")  # of a PNG
    return "half" if path.suffix == ".png" and width <= 800 else "whole"


def part(script, out):
    """The HTML of one script."""
    name = Path(script).stem
    folder = out / name
    text = output_of(script, folder)
    title = (HERE / script).read_text().split('"""')[1].splitlines()[0].rstrip(".")
    lines = [f'<h2 id="{name}">{html.escape(title)}</h2>']
    for heading, body in sections(text):
        lines += [f"<h3>{html.escape(heading)}</h3>", f"<pre>{html.escape(body)}</pre>"]
    for path in pictures(folder):
        label = html.escape(path.stem.replace("-", " "))
        source = f"{name}/{html.escape(path.name)}"
        lines.append(
            f'<figure class="{size_of(path)}"><img src="{source}" alt="{label}">'
            f"<figcaption>{label}</figcaption></figure>"
        )
    for path in sorted(folder.glob("*.html")):
        source = f"{name}/{html.escape(path.name)}"
        lines.append(f'<p><a href="{source}">{html.escape(path.stem)}, to turn and search</a></p>')
    return title, name, "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", default=SCRIPTS, help="beside this file")
    parser.add_argument("--out", type=Path, default=Path("demo/lectures"))
    args = parser.parse_args()
    parts = [part(script, args.out) for script in args.scripts]
    links = "".join(f'<li><a href="#{n}">{html.escape(title)}</a></li>' for title, n, _ in parts)
    page = args.out / "index.html"
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
