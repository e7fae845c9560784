import inspect

import pytest

from autodropout import errors

BUILT_IN = {
    errors.PatternError: ValueError,
    errors.SpaceError: ValueError,
    errors.ShapeError: ValueError,
    errors.SiteError: LookupError,
    errors.ApplyError: RuntimeError,
    errors.UsageError: ValueError,
    errors.DataError: OSError,
    errors.LedgerError: OSError,
    errors.StudyError: RuntimeError,
    errors.MissingError: ImportError,
    errors.DivergedError: ArithmeticError,
    errors.DeviceError: RuntimeError,
}


@pytest.mark.parametrize(("error", "built_in"), BUILT_IN.items())
def test_each_error_is_ours_and_the_fitting_built_in(error, built_in):
    with pytest.raises(errors.AutoDropoutError, match="what was wrong"):
        raise error("what was wrong")
    assert issubclass(error, built_in)


def test_no_error_is_forgotten_here():
    children = {e for _, e in inspect.getmembers(errors, inspect.isclass)} - {errors.AutoDropoutError}
    assert children == set(BUILT_IN)
