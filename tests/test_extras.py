"""Packages of extras: found, or named with what to install."""

import sys

import pytest

from onelook.errors import OnelookError
from onelook.extras import file_of_extra, import_extra


def test_a_package_is_imported():
    assert import_extra("json", "faces") is sys.modules["json"]


def test_a_missing_package_is_an_error_that_names_the_extra():
    with pytest.raises(OnelookError, match=r"no_such.*pip install 'onelook\[faces\]'"):
        import_extra("no_such", "faces")


def test_a_file_is_found_without_importing_its_package(tmp_path, monkeypatch):
    package = tmp_path / "only_files"
    package.mkdir()
    (package / "__init__.py").write_text("import pkg_resources_that_is_gone")
    (package / "weights.dat").write_bytes(b"1")
    monkeypatch.syspath_prepend(tmp_path)
    assert file_of_extra("only_files", "weights.dat", "faces") == package / "weights.dat"
    with pytest.raises(OnelookError, match=r"only_files/other.dat.*'onelook\[faces\]'"):
        file_of_extra("only_files", "other.dat", "faces")


def test_a_file_of_a_missing_package_is_an_error_that_names_the_extra(monkeypatch):
    with pytest.raises(OnelookError, match=r"'onelook\[faces\]'"):
        file_of_extra("no_such", "weights.dat", "faces")
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    with pytest.raises(OnelookError, match=r"'onelook\[faces\]'"):
        file_of_extra("face_recognition_models", "weights.dat", "faces")
