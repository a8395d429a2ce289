"""What a person gives to upload: a picture, or a folder or zip file with pictures and their captions."""

from __future__ import annotations

from pathlib import Path

from .client import Client, UploadRefused

# those that the Load Dataset node reads
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif"})
CAPTIONS = frozenset({".txt", ".caption", ".json", ".jsonl", ".csv"})


_NAMED = 3  # of the files that were left out


class UploadError(ValueError):
    """A path that cannot be uploaded; the message says why."""


def files(path: Path) -> list[Path]:
    """The files to send: `path` itself, or a folder's pictures and captions, those in folders below it too. Raises
    UploadError."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UploadError(f"there is no file or folder {path} to upload.")
    wanted = PICTURES | CAPTIONS
    found = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and file.suffix.lower() in wanted and not _is_hidden(file.relative_to(path))
    )
    if not any(file.suffix.lower() in PICTURES for file in found):
        raise UploadError(f"folder {path} holds no picture. Give one with {', '.join(sorted(PICTURES))} files.")
    return found


def _is_hidden(file: Path) -> bool:
    return any(part[0] == "." for part in file.parts)


def name(path: Path) -> str:
    """Its name below ComfyUI's input folder."""
    return path.resolve().name


async def send(client: Client, path: Path, known_folders: list[str]) -> str:
    """Upload `path` and tell how to use it. known_folders: those that the server has already. Raises UploadError where
    the server refuses an archive."""
    given = files(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        return await _send_archive(client, path)
    if path.is_file():
        return f"Uploaded {path}: --set NODE.image={await client.upload(path)} uses it."
    for file in given:
        await client.upload(file, subfolder=(Path(name(path)) / file.parent.relative_to(path)).as_posix())
    captions = sum(file.suffix.lower() in CAPTIONS for file in given)
    told = (
        f"Uploaded {len(given) - captions} pictures and {captions} caption files from {path}: "
        f"--set dataset.folder={name(path)} uses them."
    )
    if name(path) in known_folders:
        told += f"\nNote: the server had a folder '{name(path)}' already; files of other names are still in it."
    return told


async def _send_archive(client: Client, path: Path) -> str:
    try:
        made = await client.upload_dataset(path, path.resolve().stem)
    except UploadRefused as error:
        raise UploadError(f"the server does not take {path}: {error}") from error
    left_out = f" Left out: {', '.join(made['left_out'][:_NAMED])}" if made["left_out"] else ""
    more = ", …" if len(made["left_out"]) > _NAMED else "." if left_out else ""
    told = f"Uploaded {made['pictures']} pictures from {path}: --set dataset.folder={made['name']} uses them."
    return f"{told}{left_out}{more}"
