"""Optional packages: how an error says to install one."""


def install_hint(extra: str) -> str:
    """The command that installs an extra of pyproject.toml, and where it works.

    It names a folder and no distribution: minitorch is on no package index.
    """
    return f'pip install -e ".[{extra}]" in the clone of minitorch'
