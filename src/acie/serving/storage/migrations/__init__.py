"""Alembic's scripts, part of the package so that an installed ACIE can migrate."""

__all__ = []
