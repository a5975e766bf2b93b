"""Handing a twin on: to a Hugging Face Hub repository, or as a version in the Git repository (GTO). The gate is obeyed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinforge.errors import UserError
from twinforge.files import read_json
from twinforge.manifest import MANIFEST, verify

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def obey_gate(report: Path) -> None:
    """Raise `UserError` unless the gate's report (`reports/SECTOR/gate.json`) says that the twin passed."""
    verdict: Any = read_json(report)
    if not isinstance(verdict, dict) or verdict.get("passed") is not True:
        raise UserError(f"{report}: the gate was not passed; nothing was published: see `twinforge gate`")


def publish(folder: Path, repo: str, report: Path, private: bool = True, api: HfApi | None = None) -> str:
    """Verify a twin, obey its gate and upload it; returns the address of the commit.

    repo : "owner/name" on the Hub that HF_ENDPOINT names, with the token that `hf auth login` stored. api : the client.

    Raises
    ------
    UserError
        The twin is not whole, the gate was not passed, or the Hub refuses.
    """
    manifest = verify(folder)
    obey_gate(report)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    client = api or HfApi()
    try:
        client.create_repo(repo, private=private, exist_ok=True)
        done = client.upload_folder(
            repo_id=repo,
            folder_path=str(folder),
            allow_patterns=[*manifest.files, MANIFEST],
            delete_patterns="*",
            commit_message=f"twin of {manifest.sector}, code {manifest.code['revision']}",
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"{repo}: the Hub refuses ({error}); check the name, the network and `hf auth login`"
        ) from error
    return str(done)


def register(sector: str, version: str, report: Path, root: Path = Path()) -> str:
    """Obey the gate and give today's commit a Git tag `SECTOR@VERSION`, as GTO reads it; returns the tag.

    Raises
    ------
    UserError
        The gate was not passed, or GTO refuses (no commit, the version is there already).
    """
    obey_gate(report)
    from gto.api import register as register_version
    from gto.exceptions import GTOException

    try:
        register_version(str(root), sector, ref="HEAD", version=version)
    except GTOException as error:
        raise UserError(f"{sector}@{version}: {error}; commit first, and give a new version such as v1.0.1") from error
    return f"{sector}@{version}"
