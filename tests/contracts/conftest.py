import pytest


@pytest.fixture(autouse=True)
def nothing_unforeseen(caplog):
    """What a loop outlives fails its test all the same, where the test does not clear `caplog`."""
    yield
    assert [r for r in caplog.get_records("call") if r.name == "asyncio" and r.exc_info] == []
