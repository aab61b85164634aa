"""The API's documents, as the validators of OpenAPI and AsyncAPI judge them."""

import subprocess

import pytest

from box import ROOT
from node import install_packages

FOLDER = ROOT / "tests" / "documents"
DOCUMENTS = sorted((ROOT / "docs" / "api").glob("*.yaml"))


def validate(file):
    install_packages(FOLDER)
    return subprocess.run(["node", FOLDER / "validate.mjs", file], capture_output=True, text=True,
                          check=False, timeout=120)


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.stem)
def test_the_document_is_one(file):
    done = validate(file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("stem, right, wrong, told", [
    ("openapi", "      responses:", "      answers:", "/paths/~1orders/get"),
    ("asyncapi", "    action: send", "    action: shout", "/operations/publish_event/action"),
])
def test_a_document_that_is_none_is_found_out(tmp_path, stem, right, wrong, told):
    text = (ROOT / "docs" / "api" / f"{stem}.yaml").read_text()
    assert right in text
    file = tmp_path / f"{stem}.yaml"
    file.write_text(text.replace(right, wrong, 1))
    done = validate(file)
    assert done.returncode == 1 and told in done.stdout, done.stdout + done.stderr
