import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks of tests are too small for more threads, and compute the same everywhere with one."""
    torch = sys.modules.get("torch")  # tests that need it import it, the others do without
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A prepared set with everything that a sample may have: 24 samples to train on, 12 to validate."""
    from tests.support.prepared import utterances, write

    folder = tmp_path_factory.mktemp("data") / "set"
    return write(folder, [*utterances(24, "train"), *utterances(12, "valid")])
