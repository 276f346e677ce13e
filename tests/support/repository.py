"""A git repository for a test, and a bare one beside it that plays its server."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

#: What a user has set for git is not for tests.
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@test",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@test",
}


@dataclass(frozen=True)
class Repository:
    folder: Path
    server: Path

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.folder), *words], env=_ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, **contents: str) -> str:
        """Write files, commit them and push the branch; return the commit."""
        for name, content in contents.items():
            path = self.folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        self.git("push", "-q", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")


def repository(folder: Path) -> Repository:
    """Make one with the branch main, without a commit."""
    made = Repository(folder / "work", folder / "server.git")
    made.folder.mkdir(parents=True)
    made.git("init", "-q", "-b", "main")
    made.git("init", "-q", "--bare", "-b", "main", str(made.server))
    made.git("remote", "add", "origin", str(made.server))
    return made
