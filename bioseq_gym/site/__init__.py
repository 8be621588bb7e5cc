"""The static page of the leaderboards: one folder that works from disk and from any web host, with no network."""

from bioseq_gym.site.content import Entry
from bioseq_gym.site.files import INDEX, SITE, check_site, write_board, write_front
from bioseq_gym.site.serve import serve

__all__ = ["INDEX", "SITE", "Entry", "check_site", "serve", "write_board", "write_front"]
