"""Recognise files of networks by their members: libraries call a file of another kind corrupted."""

import io
import zipfile

from bench.models.kinds import ModelFormat

ZIP = b"PK\x03\x04"
PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
OTHER_LIBRARIES = {b"\x89HDF\r\n\x1a\n": "an HDF5 file, such as Keras writes", b"TFL3": "a TFLite model"}
"""How files begin (TFLite: from the fifth byte) that nothing here runs."""
EXPORT = "export the network as ONNX (torch.onnx.export, tf2onnx), or save its state dict as safetensors"


def wrong_kind(content: bytes, declared: str) -> str:
    """Return what a file is, and the right format, if it is certainly not of the declared one; else an empty text."""
    found, advice = _recognised(content)
    if not found or found == declared:
        return ""
    if found in tuple(ModelFormat):
        return f'it is {advice}: write format = "{found}"'
    return f"it is {found}: {advice}"


def _recognised(content: bytes) -> tuple[str, str]:
    """Return a format and what files of it are called, or what a file is and what to do; empty if it is not known."""
    for start, what in OTHER_LIBRARIES.items():
        if content.startswith(start) or content.startswith(start, 4):
            return what, EXPORT
    if content.startswith(ZIP):
        return _of_members(content)
    if content.startswith(PICKLE):
        return "a pickle (torch.save or pickle.dump), which may run code when it is read", EXPORT
    header = int.from_bytes(content[:8], "little")
    if content[8:9] == b"{" and 2 <= header <= len(content) - 8:
        return ModelFormat.SAFETENSORS, "a safetensors file"
    return "", ""


def _of_members(content: bytes) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = {name.partition("/")[2] or name for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):  # the library that opens it reports how
        return "", ""
    if "models/model.json" in names or "serialized_exported_program.json" in names or "archive_format" in names:
        return ModelFormat.PT2, "a program of torch.export (.pt2)"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return ModelFormat.TORCHSCRIPT, "a TorchScript program"
    if "data.pkl" in names:
        return "a file of torch.save, which may run code when it is read", EXPORT
    if names and all(name.endswith(".npy") for name in names):
        return ModelFormat.ANSWERS, "an npz file of arrays"
    if "saved_model.pb" in names or {"config.json", "model.weights.h5"} <= names:
        return "a Keras or TensorFlow model", EXPORT
    return "", ""
