"""Package description. `make setup` installs it, with the pins of constraints.txt, into .venv."""

from setuptools import find_packages, setup

setup(
    name="directfaas-testbed",
    version="0.1.0",
    description="A reproducible testbed for serverless chain networking: gateway-routed against direct calls",
    python_requires=">=3.11",
    packages=find_packages(include=["testbed*", "controllers*", "experiments*"]),
    install_requires=[
        "aiohttp",
        "click",
        "eventlet",
        "hdrhistogram",
        "httptools",
        "locust",
        "matplotlib",
        "numpy",
        "pandas",
        "prometheus-client",
        "pyyaml",
        "requests",
        "rich",
        "scipy",
        "uvloop",
        "waitress",
    ],
    extras_require={"dev": ["hypothesis", "import-linter", "mypy", "pytest", "ruff", "types-PyYAML", "types-requests"]},
    entry_points={"console_scripts": ["testbed = testbed.run:main"]},
)
