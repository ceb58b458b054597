"""Only what pyproject.toml cannot say yet without a warning: the C extension."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("myextension", ["src/myextension.c"])])
