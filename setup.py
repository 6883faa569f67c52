"""Package description. `make setup` installs it, with the pins of constraints.txt, into .venv."""

from setuptools import find_packages, setup

setup(
    name="directfaas-testbed",
    version="0.1.0",
    description="A reproducible testbed for serverless chain networking: gateway-routed against direct calls",
    python_requires=">=3.11",
    packages=find_packages(include=["testbed*", "controllers*", "experiments*"]),
    package_data={"experiments.report": ["*.jinja"]},
    install_requires=[
        "aiohttp",
        "aiosmtpd",
        "click",
        "eventlet",
        "hdrhistogram",
        "httptools",
        "jinja2",
        "locust",
        "matplotlib",
        "numpy",
        "pandas",
        "prometheus-client",
        "pymysql",
        "pyyaml",
        "requests",
        "rich",
        "scipy",
        "uvloop",
        "waitress",
    ],
    extras_require={
        "dev": [
            "hypothesis",
            "import-linter",
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "types-PyYAML",
            "types-requests",
        ]
    },
    entry_points={"console_scripts": ["testbed = testbed.run:main"]},
)
