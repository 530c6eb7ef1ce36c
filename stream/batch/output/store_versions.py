"""Older versions of objects, which some stores keep when an object is removed or written anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ERRORS = (OSError, ValueError)
"""Of s3fs, which turns those of the server into these."""


class StoreVersions:
    """Finds and removes older versions in S3. Of other stores it says what only their own tools can."""

    def __init__(self, files: Any, url: str) -> None:
        """`files` is the file system that fsspec has for the address `url`."""
        self._files, self._url = files, url
        self._scheme = url.partition("://")[0]
        self._kept: str | None = None

    def erase(self, path: str, *, newest: bool) -> None:
        """Remove every version of the object at `path`, or of all below it if it ends with a slash, and the
        marks of their removal; all but the current ones unless `newest`. See `keeps` for versions that stay.
        Does nothing on other stores than S3."""
        if not self._is_s3:
            return
        try:
            for key, version in list(self._older(path, newest)):
                self._call("delete_object", path, Key=key, VersionId=version)
            count = len(list(self._older(path, newest)))
        except _ERRORS as error:
            self._kept = (
                f"the older versions of s3://{path} cannot be listed or removed ({error}): it needs the "
                "permissions s3:ListBucketVersions and s3:DeleteObjectVersion"
            )
        else:
            if count:
                self._kept = (
                    f"s3://{path} still has {count} older versions: does the bucket lock them?"
                )

    @property
    def keeps(self) -> str | None:
        """Why what was removed may still be there; None where it is known to be gone."""
        if self._is_s3:
            return self._kept
        if self._scheme == "memory":
            return None
        if self._scheme in ("gs", "gcs"):
            bucket = self._url.partition("://")[2].partition("/")[0]
            return (
                "Google Cloud Storage keeps what is removed for as long as the soft delete policy of the "
                "bucket says (7 days by default), and older versions if the bucket has them: look with "
                f"`gcloud storage buckets describe gs://{bucket}`, and with `--soft-deleted` and "
                "`--all-versions` of `gcloud storage ls`"
            )
        return (
            f"whether {self._scheme}:// keeps what is removed is not known: look with its own tools"
        )

    @property
    def _is_s3(self) -> bool:
        return self._scheme in ("s3", "s3a")

    def _older(self, path: str, newest: bool) -> Iterator[tuple[str, str]]:
        """The keys and versions that are to go."""
        key = path.partition("/")[2]
        marks: dict[str, str] = {}
        while True:
            page = self._call("list_object_versions", path, Prefix=key, **marks)
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                is_meant = one["Key"] == key or key.endswith("/")
                if is_meant and (newest or not one["IsLatest"]):
                    yield one["Key"], one["VersionId"]
            if not page.get("IsTruncated"):
                return
            marks = {
                "KeyMarker": page["NextKeyMarker"],
                "VersionIdMarker": page.get("NextVersionIdMarker", ""),
            }

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        bucket = path.partition("/")[0]
        found: dict[str, Any] = self._files.call_s3(method, Bucket=bucket, **arguments)
        return found
