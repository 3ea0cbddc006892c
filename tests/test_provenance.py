"""Which commit made a result, and on which processor."""

import subprocess
from unittest.mock import mock_open

import pytest

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


X86 = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\n"


@pytest.mark.parametrize(
    "told, name", [(X86, "AMD EPYC, family 25, model 17"), ("processor\t: 0\nCPU part\t: 0xd40\n", "aarch64")]
)
def test_processors_of_one_name_are_told_apart(monkeypatch, told, name):
    monkeypatch.setattr("builtins.open", mock_open(read_data=told))
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert provenance.processor() == name
