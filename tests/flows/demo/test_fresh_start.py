"""`make demo FRESH=1` deletes nothing of others without their word."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing

import pytest
from rich.console import Console

from flows.demo.fresh_start import others_data, reset
from registry.contract import catalog
from registry.core.errors import Refused, SettingsError
from registry.core.settings import Settings

MODEL, OTHER = "skin_segmentation", "fruit_features"


@pytest.fixture
def used(config: Settings) -> Settings:
    """A folder in which a model was used."""
    for folder in (config.var / "bundles" / MODEL, config.data / MODEL, config.data / OTHER, config.build / OTHER):
        folder.mkdir(parents=True)
    return config


def test_a_folder_of_one_model_is_emptied_and_other_data_stays(used: Settings) -> None:
    assert others_data([MODEL]) == []
    reset([MODEL], Console(quiet=True), sure=False)
    assert not used.var.exists()
    assert not (used.data / MODEL).exists()
    assert (used.data / OTHER).is_dir()
    assert (used.build / OTHER).is_dir()


def test_what_is_of_others_is_named_and_kept(used: Settings) -> None:
    (used.var / "decisions" / OTHER).mkdir(parents=True)
    with closing(sqlite3.connect(used.var / "visionloop.db")) as connection:
        connection.execute("create table access_key (id text)")
        connection.execute("insert into access_key values ('a')")
        connection.commit()
    with pytest.raises(Refused) as error:
        reset([MODEL], Console(quiet=True), sure=False)
    assert f"versions and predictions of {OTHER}, 1 API key" in error.value.found
    assert "YES=1" in error.value.fix
    assert (used.var / "bundles" / MODEL).is_dir()
    assert (used.data / MODEL).is_dir()
    reset([MODEL], Console(quiet=True), sure=True)
    assert not used.var.exists()


def test_where_the_stack_could_not_be_started_again_nothing_is_deleted(used: Settings) -> None:
    with (
        socket.create_server(("127.0.0.1", used.mlflow_port)),
        pytest.raises(SettingsError, match="which mlflow needs"),
    ):
        reset([MODEL], Console(quiet=True), sure=False)
    assert (used.var / "bundles" / MODEL).is_dir()
    assert (used.data / MODEL).is_dir()


def test_data_that_cannot_be_drawn_again_stays(used: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(catalog.get(MODEL).data), "has_starter", False)
    reset([MODEL], Console(quiet=True), sure=False)
    assert (used.data / MODEL).is_dir()
    assert not used.var.exists()
