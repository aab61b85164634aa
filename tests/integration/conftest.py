import pytest

from box import Box


@pytest.fixture
def make_box(tmp_path):
    """Starts boxes and stops them at the end of the test; each must end cleanly."""
    boxes = []

    def make(*arguments, name="var", start=True, **options):
        box = Box(tmp_path / name, *arguments, **options)
        boxes.append(box)
        return box.start() if start else box

    yield make
    codes = [box.stop() for box in boxes if box.process and box.process.poll() is None]
    assert all(code == 0 for code in codes), f"exit codes {codes}"


@pytest.fixture
def box(make_box):
    return make_box()
