"""How the scripts print: headings, and pictures with what one sees; `page.py` reads it back."""


def heading(text):
    print(f"\n{text}\n{'-' * len(text)}")


def see(path, sentence, draw=None):
    """Draw, and say what one sees; where Graphviz is missing, say that."""
    try:
        if draw is not None:
            draw(path)
    except (ImportError, RuntimeError) as error:
        print(f"left out: {path.name}: {error}")
    else:
        print(f"see {path}: {sentence}")
