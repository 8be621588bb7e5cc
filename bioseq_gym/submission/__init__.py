"""Submissions: the runs of one agent on a suite, or on one task, in a file that anyone can replay."""

from bioseq_gym.submission.document import read_submission, to_bytes
from bioseq_gym.submission.pack import pack
from bioseq_gym.submission.packed import PackedRun, Submission
from bioseq_gym.submission.verify import faults, verify

__all__ = ["PackedRun", "Submission", "faults", "pack", "read_submission", "to_bytes", "verify"]
