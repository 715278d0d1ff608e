"""Write `.env` for docker-compose.yml, with new secrets: python3 deployments/new_env.py.

Uses nothing but the standard library, so that it runs where only Python and Docker are. A file that is there stays.
"""

import os
import re
import secrets
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_SECRET_BYTES = 32


def new_env(template: str) -> str:
    """Fill the empty secrets of a template.

    Args:
        template: Text of `.env.example`.

    Returns:
        The same with a new value for each secret, of letters, digits, dashes and underscores: safe in URLs.
    """
    values = {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(_SECRET_BYTES),
        "PREFECT_AUTH_STRING": f"admin:{secrets.token_urlsafe(_SECRET_BYTES)}",
        "RETUNE_SERVER_API_KEY": f"sk-{secrets.token_urlsafe(_SECRET_BYTES)}",
    }
    for name, value in values.items():
        template = re.sub(rf"^{name}=$", f"{name}={value}", template, flags=re.MULTILINE)
    return template


def main() -> int:
    """Write the file, readable by its owner alone; a file that is there is left alone, with exit status 1."""
    path = _ROOT / ".env"
    text = new_env((_ROOT / ".env.example").read_text(encoding="utf-8"))
    try:
        # Made with its mode, and only if there is none: the secrets are never readable by others.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"error: {path} is there already and was left alone.", file=sys.stderr)  # noqa: T201
        print("With new secrets the databases that were made with the old ones can't be opened.", file=sys.stderr)  # noqa: T201
        return 1
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    (_ROOT / "data").mkdir(exist_ok=True)
    print(f"Wrote {path}, for you alone. Your data goes into data/.")  # noqa: T201
    print("Next: docker compose up --detach --build")  # noqa: T201
    print("Then, for Prefect's UI: docker compose exec prefect-server retune prefect link")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
