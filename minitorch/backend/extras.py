"""Optional packages: the hint in an error on how to install one."""


def install_hint(extra: str) -> str:
    """The command that installs an extra of pyproject.toml, and the folder to run it in.

    The command names no distribution, because minitorch is on no package index.
    """
    return f'pip install -e ".[{extra}]" in the clone of minitorch'
