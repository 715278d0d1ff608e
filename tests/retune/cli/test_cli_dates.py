"""What the commands say of base models that end, and that no page tells anybody to train one that has a last day."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
from check_command import Check
from faulty_proxy import faulty_proxy

from retune.cli.checking import CheckRequest, check_source
from retune.cli.check_view import ReadingBar
from retune.config_file import parse_config
from retune.data.model_dates import find_dates
from retune.data.models import base_model, find_model, known_families, known_models

from .conftest import Retune
