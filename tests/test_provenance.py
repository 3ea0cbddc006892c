"""Which commit made a result."""

import subprocess

from labkit import provenance


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_commit_of_our_own_repository_only(tmp_path, monkeypatch):
    inner = tmp_path / "thesis" / "labkit"
    inner.mkdir(parents=True)
    monkeypatch.setattr(provenance, "ROOT", inner)
    git(tmp_path / "thesis", "init")
    git(tmp_path / "thesis", "commit", "--allow-empty", "--message=a thesis")
    assert provenance.commit() == "unknown"
    git(inner, "init")
    git(inner, "commit", "--allow-empty", "--message=labkit unpacked in it")
    assert provenance.commit() == git(inner, "rev-parse", "--short=10", "HEAD")
