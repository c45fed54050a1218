"""What the wire tests share: S3's model and its compiled operations."""

import pathlib

import pytest

from strongroom.dialects.s3 import corrections
from strongroom.wire import binding, model

MODEL = pathlib.Path(corrections.__file__).parent / "model.json"


@pytest.fixture(scope="session")
def s3_model():
    return model.load(MODEL.read_bytes())


@pytest.fixture(scope="session")
def operations(s3_model):
    return binding.compile_operations(corrections.complete(s3_model), corrections.CORRECTIONS)
