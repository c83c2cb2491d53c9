"""Where the packaged patients are."""

from snellen import embedded


def test_patients_have_folders_with_a_config() -> None:
    assert embedded.PATIENTS == ("embedded", "embedded-template")
    assert all((embedded.folder(name) / "config.json").is_file() for name in embedded.PATIENTS)
