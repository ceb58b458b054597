"""What the tests of promises share with the other real builds and starts."""

from tests.integration.conftest import docker, main_job, podman

__all__ = ["docker", "main_job", "podman"]
