"""Changed submissions: what verifies is true, and what does not is refused with the library's own error.

``benchmarks/fuzz_submissions.py`` is the same with as many cases as one likes, and by bytes.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from forgeries import Originals, forgeries, untruths
from hypothesis import given
from hypothesis import strategies as st
from strategies import checked
from submissions import CARD, TASK, sweep

from bioseq_gym import InvalidSubmission
from bioseq_gym.submission import Submission, faults, pack
from bioseq_gym.submission.document import from_bytes


@pytest.fixture(scope="module")
def originals(whole: Submission, abridged: Submission, tmp_path_factory: pytest.TempPathFactory) -> Originals:
    longer = sweep(tmp_path_factory.mktemp("longer"), "random", budget=1200)  # so that a checkpoint is reached
    on_task = (pack(longer, TASK, abridged=short) for short in (False, True))
    return Originals((whole, abridged, replace(abridged, card=CARD), *on_task))


def test_what_is_not_changed_is_true(originals: Originals) -> None:
    for submission in originals:
        assert (faults(submission), untruths(submission, originals)) == ([], [])


@checked(300)
@given(data=st.data())
def test_no_forgery_verifies_or_raises_another_error(originals: Originals, data: st.DataObject) -> None:
    kind, content = data.draw(forgeries(originals))
    started = time.perf_counter()
    submission = None
    try:
        submission = from_bytes(content, "it")
        found = faults(submission)
    except InvalidSubmission as error:
        found = [str(error)]
    assert time.perf_counter() - started < 5, kind  # two seconds, on a machine that others use too
    assert all(line.isprintable() for line in found)
    if submission is not None and not found:
        assert untruths(submission, originals) == [], kind
