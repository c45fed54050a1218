"""The vendored model, and the tool that writes it."""

import copy
import importlib.util
import json
import pathlib

import botocore
import pytest

from strongroom.dialects.s3 import corrections

TOOL = pathlib.Path(__file__).parents[2] / "tools/refresh_models.py"
MODEL = pathlib.Path(corrections.__file__).parent / "model.json"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("refresh_models", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_operation_is_read(s3_model):
    assert len(s3_model.operations) == 116
    assert s3_model.source["package"] == "botocore"


def test_an_operation_says_what_makes_a_request_its_own(s3_model):
    listing = s3_model.operations["ListObjectsV2"]
    part = s3_model.operations["UploadPart"]
    copying = s3_model.operations["CopyObject"]
    tagging = s3_model.operations["PutObjectTagging"]

    assert (listing.method, listing.path, listing.static_query) == (
        "GET", "/{Bucket}", (("list-type", "2"),),
    )  # fmt: skip
    assert (part.required_query, part.path) == (("partNumber", "uploadId"), "/{Bucket}/{Key+}")
    assert copying.required_headers == ("x-amz-copy-source",)
    assert (tagging.static_query, tagging.payload) == ((("tagging", ""),), "Tagging")


def test_an_operation_says_which_way_it_streams(s3_model):
    streams = {
        name: (operation.streaming_input, operation.streaming_output)
        for name, operation in s3_model.operations.items()
        if operation.streaming_input or operation.streaming_output
    }

    assert streams == {
        "GetObject": (False, True),
        "GetObjectAnnotation": (False, True),
        "GetObjectTorrent": (False, True),
        "PutObject": (True, False),
        "PutObjectAnnotation": (True, False),
        "SelectObjectContent": (False, True),
        "UploadPart": (True, False),
        "WriteGetObjectResponse": (True, False),
    }


def test_an_operation_says_what_it_answers_and_demands(s3_model):
    assert s3_model.operations["DeleteObject"].success == 204
    assert s3_model.operations["DeleteObjects"].checksum_required
    assert s3_model.operations["GetObject"].errors == ("NoSuchKey", "InvalidObjectState")
    assert s3_model.operations["PutBucketLifecycle"].deprecated


def test_every_shape_that_is_named_exists(s3_model):
    for shape in s3_model.shapes.values():
        for member in [*shape.members.values(), *([shape.item] if shape.item else [])]:
            assert member.shape in s3_model.shapes


def test_the_vendored_file_is_what_the_tool_writes_from_the_same_botocore(tool):
    # With another botocore the differences are news for whoever refreshes, not a failure here.
    vendored = MODEL.read_text(encoding="utf-8")
    if json.loads(vendored)["source"]["version"] != botocore.__version__:
        pytest.skip("another botocore is installed; tools/refresh_models.py --check reports drift")

    assert vendored == tool.installed()


def test_the_vendored_model_of_the_kms_is_what_the_tool_writes_too(tool):
    vendored = tool.KMS_TARGET.read_text(encoding="utf-8")
    if json.loads(vendored)["source"]["version"] != botocore.__version__:
        pytest.skip("another botocore is installed; tools/refresh_models.py --check reports drift")

    assert vendored == tool.installed(tool.KMS_SOURCE)


def test_the_tool_says_nothing_when_nothing_has_drifted(tool):
    text = MODEL.read_text(encoding="utf-8")

    assert tool.drift(text, text) == []


def test_the_tool_names_what_has_drifted(tool):
    old = json.loads(MODEL.read_text(encoding="utf-8"))
    new = copy.deepcopy(old)
    new["source"]["version"] = "99"
    del new["operations"]["GetObject"]
    new["operations"]["NewOperation"] = {}
    members = new["shapes"]["Owner"]["members"]
    new["shapes"]["Owner"]["members"] = dict(reversed(members.items()))

    assert tool.drift(json.dumps(old), json.dumps(new)) == [
        f"source: {old['source']['version']} -> 99",
        "operations: GetObject is gone",
        "operations: NewOperation is new",
        "shapes: Owner differs",
    ]


def test_the_tool_stops_at_a_trait_that_nobody_has_looked_at(tool):
    model = {
        "metadata": {"apiVersion": "x"},
        "operations": {},
        "shapes": {"A": {"type": "string", "newTrait": True}},
    }

    with pytest.raises(tool.UnknownTraitError, match="shape A: newTrait"):
        tool.render(model, "1")


def test_documentation_is_left_out(tool):
    model = {
        "metadata": {"apiVersion": "x"},
        "operations": {"O": {"name": "O", "http": {}, "documentation": "words"}},
        "shapes": {
            "A": {
                "type": "structure",
                "documentation": "words",
                "members": {"documentation": {"shape": "B", "documentation": "words"}},
            }
        },
    }

    written = json.loads(tool.render(model, "1"))

    assert written["operations"]["O"] == {"http": {}, "name": "O"}
    assert written["shapes"]["A"]["members"] == {"documentation": {"shape": "B"}}
