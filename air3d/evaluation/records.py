"""The result file of an evaluation, as the page of results reads it."""

from collections.abc import Mapping
from dataclasses import asdict

from air3d.evaluation.figures import Figures
from air3d.evaluation.judge import Evaluation, Scored
from air3d.evaluation.metrics import to_json
from air3d.evaluation.test_sets import TestSet
from air3d.provenance import provenance


def result_record(
    how: Mapping[str, object], test_set: TestSet, evaluation: Scored, figures: Figures
) -> dict:
    """Return what goes into a result file.

    Args:
        how: what was tested and with which options; ``method`` is what the page calls it.
        test_set: what was inferred.
        evaluation, figures: of it.
    """
    timed = isinstance(evaluation, Evaluation)
    return {
        **how,
        "source": test_set.source,
        "images": len(test_set),
        "images_per_second": evaluation.images_per_second if timed else None,
        "processor_seconds": evaluation.processor_seconds if timed else None,
        "metrics": to_json(evaluation.metrics),
        **to_json(figures),
        "provenance": asdict(provenance(test_set.seed)),
    }
