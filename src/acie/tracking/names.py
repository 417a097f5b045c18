"""Names of registered models: ``models:/acie/3`` and ``models:/acie@production``."""

__all__ = ["ALIASES", "PREFIX", "ModelName"]

import re
from dataclasses import dataclass

from acie.errors import UnknownModel

PREFIX = "models:/"
#: What a version is for, from the first to the last.
ALIASES = ("candidate", "staging", "production")
_NAME = re.compile(
    r"models:/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})"
    r"(?:/(?P<version>[1-9][0-9]{0,8})|@(?P<alias>[A-Za-z][A-Za-z0-9_-]{0,99}))"
)


@dataclass(frozen=True)
class ModelName:
    """A version of a registered model, by its number or by an alias.

    Arguments:
        name: Name of the model.
        version: Number of the version.
        alias: Name of what moves from version to version; instead of a number.
    """

    name: str
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """The name in a text.

        Raises:
            UnknownModel: It has another form.

        Example:
            >>> ModelName.parse("models:/acie@production").alias
            'production'
        """
        found = _NAME.fullmatch(text)
        if found is None:
            raise UnknownModel(
                "model",
                expected="models:/NAME/VERSION or models:/NAME@ALIAS",
                found=repr(text[:120]),
                remedy="Such as models:/acie/3 or models:/acie@production.",
            )
        version = found["version"]
        return cls(found["name"], None if version is None else int(version), found["alias"])

    @classmethod
    def of(cls, name: str, which: str) -> "ModelName":
        """A version by what people call it: ``3``, ``production``, or the whole name.

        Raises:
            UnknownModel: It is none of them.
        """
        if which.startswith(PREFIX):
            return cls.parse(which)
        return cls.parse(f"{PREFIX}{name}{'/' if which.isdecimal() else '@'}{which}")

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.alias}" if self.alias else f"/{self.version}")
