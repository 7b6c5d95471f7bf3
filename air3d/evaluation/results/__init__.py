"""The page of results, made from the JSON files that scripts write."""

from air3d.evaluation.results.page import results_page
from air3d.evaluation.results.read import ResultsError

__all__ = ["ResultsError", "results_page"]
