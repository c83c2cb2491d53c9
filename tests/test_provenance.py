"""What a run says of how it was made."""

import re
from pathlib import Path

from snellen.provenance import commit, now, provenance


def test_provenance_names_versions_and_no_path() -> None:
    found = provenance()
    assert found["versions"]["torch"] and found["versions"]["python"] and found["snellen"] == "0.1.0"
    assert str(Path(__file__).parent.parent) not in str(found)


def test_commit_and_time_have_their_forms() -> None:
    assert commit() is None or re.fullmatch(r"[0-9a-f]{12}\+?", commit() or "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", now())
