"""A second opinion: Google's Tink reads what we write, and we read what it writes."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest
import tink
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from registry.encryption import files
from registry.encryption.files import Reader
from registry.encryption.format import HEADER_BYTES, MAGIC, SEGMENT_BYTES, room, unwrap
from registry.encryption.keys import keyring

NAME = "upload-7"
SIZES = [0, 1, room(0), room(0) + 1, room(0) + room(1), 3 * SEGMENT_BYTES + 9]


def primitive(data_key: bytes) -> streaming_aead.StreamingAead:
    """Tink's AES256_GCM_HKDF_1MB with this key."""
    streaming_aead.register()
    template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB
    settings = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKeyFormat.FromString(template.value)
    assert settings.params.hkdf_hash_type == common_pb2.SHA256
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(params=settings.params, key_value=data_key)
    data = tink_pb2.KeyData(
        type_url=template.type_url, value=key.SerializeToString(), key_material_type=tink_pb2.KeyData.SYMMETRIC
    )
    of_tink = tink_pb2.Keyset.Key(
        key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.OutputPrefixType.RAW
    )
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[of_tink])
    handle = cleartext_keyset_handle.read(tink.BinaryKeysetReader(keyset.SerializeToString()))
    return handle.primitive(streaming_aead.StreamingAead)


@pytest.mark.parametrize("size", SIZES)
def test_tink_reads_what_we_write(size: int) -> None:
    content = random.Random(size).randbytes(size)
    written = files.encrypt_bytes(content, NAME)
    theirs = primitive(unwrap(written[:HEADER_BYTES], keyring(), NAME))
    with theirs.new_decrypting_stream(io.BytesIO(written[HEADER_BYTES:]), NAME.encode()) as stream:
        assert stream.read() == content
    with (
        pytest.raises(tink.TinkError),
        theirs.new_decrypting_stream(io.BytesIO(written[HEADER_BYTES:]), b"upload-8") as stream,
    ):
        stream.read()


class Kept(io.BytesIO):
    """Keeps its bytes when Tink closes it."""

    def close(self) -> None:
        pass


@pytest.mark.parametrize("size", SIZES)
def test_we_read_what_tink_writes(tmp_path: Path, size: int) -> None:
    content, data_key, out = random.Random(size).randbytes(size), os.urandom(32), Kept()
    with primitive(data_key).new_encrypting_stream(out, NAME.encode()) as stream:
        stream.write(content)
    slot = keyring().first.wrap(data_key)
    path = tmp_path / "theirs"
    path.write_bytes(MAGIC + slot + slot + out.getvalue())
    assert files.read_file(path, NAME) == content
    with Reader(path, NAME) as file:
        assert file.read() == content
