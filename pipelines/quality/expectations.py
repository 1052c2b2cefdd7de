"""Great Expectations, built from the table contracts. Importing the library costs seconds: here only.

Two suites come from one contract. The *gate* runs before every publication: the contract's clauses
are evaluated row by row and one expectation demands that no row breaks any. The *full* suite states
every clause as an expectation of its own; it runs over a day, over a backfilled chunk and over
whatever was refused, and is what Data Docs show. Of a table of hundreds of float columns the suite
looks at its profile, one row a column: a range holds if the least and the greatest value keep it.
"""

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.lake.validation import clauses, with_reason
from pipelines.quality.column_profile import profile
from pipelines.tables import Column, Table

if TYPE_CHECKING:
    import pandas as pd

_DOCS = "hourglass"
# Beyond this many float columns, those that may be null are looked at by their profile.
_WIDE = 30


def passes_gate(table: Table, frame: pl.DataFrame) -> bool:
    """Say whether no row of `frame` breaks a clause; the frame has the contract's columns."""
    verdict = with_reason(table, frame).select(pl.col("reason").cast(pl.String))
    with _quiet():
        suite = _library().suite(
            f"{table.name} gate",
            (),
            lambda: [_library().expect.ExpectColumnValuesToBeNull(column="reason")],
        )
        batch = _library().batch(table.name, _to_pandas(verdict))
        # Which rows break it and how is asked of the full suite.
        result = batch.validate(suite, result_format="BOOLEAN_ONLY")
    return bool(result.success)


def failed_expectations(table: Table, frame: pl.DataFrame) -> list[str]:
    """Run the full suite; return the expectations that fail, as "what: how many of how many"."""
    with _quiet():
        library = _library()
        suite = library.suite(f"{table.name} contract", table.columns, lambda: full_suite(table))
        rows = _gx_frame(table, frame)
        outcomes = list(library.batch(table.name, rows).validate(suite).results)
        if _profiled(table):
            columns = library.suite(f"{table.name} columns", table.columns, column_suite)
            found = _to_pandas(bounded_profile(table, frame))
            outcomes += library.batch(f"{table.name} columns", found).validate(columns).results
    return [_described(outcome) for outcome in outcomes if not outcome.success]


def column_suite() -> list[Any]:
    """Return what is asked of every column of a wide table, as expectations over its profile."""
    expect = _library().expect
    return [
        expect.ExpectColumnValuesToBeInSet(column="non_finite", value_set=[0]),
        *(
            expect.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=larger,
                column_B=smaller,
                or_equal=True,
                ignore_row_if="either_value_is_missing",
            )
            for larger, smaller in (("least", "lower_bound"), ("upper_bound", "greatest"))
        ),
    ]


def bounded_profile(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the profile of a wide table's float columns, with the inclusive bounds declared."""
    profiled = _profiled(table)
    bounds = pl.DataFrame(
        {
            "column": [column.name for column in profiled],
            "lower_bound": [column.ge for column in profiled],
            "upper_bound": [column.le for column in profiled],
        },
        schema_overrides={"lower_bound": pl.Float64, "upper_bound": pl.Float64},
    )
    names = bounds["column"].to_list()
    return profile(frame, names).drop("first_valid").join(bounds, on="column", how="left")


def full_suite(table: Table) -> list[Any]:
    """Return the clauses of the contract as expectations, but for those `column_suite` asks."""
    expect = _library().expect
    found: list[Any] = [
        expect.ExpectTableColumnsToMatchSet(column_set=list(_gx_columns(table)), exact_match=False)
    ]
    for column in _single(table):
        if not column.nullable:
            found.append(expect.ExpectColumnValuesToNotBeNull(column=column.name))
        found.extend(_range(expect, column))
    found.extend(
        expect.ExpectColumnValuesToBeInSet(column=name, value_set=[True])
        for name in _verdict_names(table)
    )
    found.append(expect.ExpectCompoundColumnsToBeUnique(column_list=list(table.key)))
    return found


def write_data_docs(folder: Path, run: str, frames: dict[str, tuple[Table, pl.DataFrame]]) -> Path:
    """Validate each frame by its full suite and render Great Expectations' Data Docs.

    Parameters
    ----------
    folder : Path
        Where the site is written.
    run : str
        Name of the run, e.g. the hour.
    frames : dict
        Title to contract and rows; empty ones are left out.

    Returns
    -------
    Path
        The site's index page.
    """
    with _quiet():
        # A context of its own: a long process would otherwise render every earlier run again.
        library = _GreatExpectations()
        library.use_docs(folder)
        for title, (table, frame) in frames.items():
            if not frame.is_empty():
                library.validate(title, table, _gx_frame(table, frame), run)
        library.build_docs()
    return folder / "index.html"


class _GreatExpectations:
    """One ephemeral context a process; suites and batch definitions are made once."""

    def __init__(self) -> None:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        with _quiet():
            import great_expectations as gx
            import great_expectations.expectations as expect

        self.gx: Any = gx
        self.expect: Any = expect
        self.context: Any = gx.get_context(mode="ephemeral")
        silent: Any = {"globally": False, "metric_calculations": False}
        self.context.variables.progress_bars = silent
        self._source = self.context.data_sources.add_pandas("hourglass")
        self._definitions: dict[str, Any] = {}
        self._suites: dict[str, tuple[tuple[Column, ...], Any]] = {}

    def suite(
        self, name: str, columns: tuple[Column, ...], expectations: Callable[[], list[Any]]
    ) -> Any:
        held, suite = self._suites.get(name, (None, None))
        if suite is None or held != columns:
            if suite is not None:
                self.context.suites.delete(name)
            suite = self.context.suites.add(
                self.gx.ExpectationSuite(name=name, expectations=expectations())
            )
            self._suites[name] = (columns, suite)
        return suite

    def batch_definition(self, name: str) -> Any:
        if name not in self._definitions:
            asset = self._source.add_dataframe_asset(name)
            self._definitions[name] = asset.add_batch_definition_whole_dataframe("rows")
        return self._definitions[name]

    def batch(self, name: str, frame: "pd.DataFrame") -> Any:
        return self.batch_definition(name).get_batch({"dataframe": frame})

    def use_docs(self, folder: Path) -> None:
        shutil.rmtree(folder / "validations", ignore_errors=True)
        self.context.add_data_docs_site(
            site_name=_DOCS,
            site_config={
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(folder),
                },
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            },
        )

    def validate(self, title: str, table: Table, frame: "pd.DataFrame", run: str) -> None:
        definition = self.gx.ValidationDefinition(
            name=title,
            data=self.batch_definition(title),
            suite=self.suite(f"{table.name} contract", table.columns, lambda: full_suite(table)),
        )
        self.context.validation_definitions.add_or_update(definition)
        definition.run(
            batch_parameters={"dataframe": frame},
            run_id=self.gx.RunIdentifier(run_name=run),
        )

    def build_docs(self) -> None:
        self.context.build_data_docs(site_names=[_DOCS])


@cache
def _library() -> _GreatExpectations:
    return _GreatExpectations()


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _range(expect: Any, column: Column) -> Iterator[Any]:
    if column.ge is None and column.gt is None and column.le is None:
        return
    yield expect.ExpectColumnValuesToBeBetween(
        column=column.name,
        min_value=column.gt if column.gt is not None else column.ge,
        max_value=column.le,
        strict_min=column.gt is not None,
    )


def _profiled(table: Table) -> list[Column]:
    """Return the columns of a wide table that are looked at by their profile."""
    floats = [c for c in table.columns if c.dtype.is_float() and c.nullable and c.gt is None]
    return floats if len(floats) > _WIDE else []


def _single(table: Table) -> list[Column]:
    profiled = {column.name for column in _profiled(table)}
    return [column for column in table.columns if column.name not in profiled]


def _verdict_names(table: Table) -> list[str]:
    floats = [column.name for column in _single(table) if column.dtype.is_float()]
    return [*(rule.name for rule in table.rules), *(f"{name} is finite" for name in floats)]


def _gx_columns(table: Table) -> list[str]:
    return [*(column.name for column in _single(table)), *_verdict_names(table)]


def _gx_frame(table: Table, frame: pl.DataFrame) -> "pd.DataFrame":
    """Return the rows with one boolean column a row rule, and finiteness as booleans.

    pandas reads a null float as NaN, so finiteness is decided before the conversion.
    """
    true = {clause.name: clause.holds.fill_null(value=True) for clause in clauses(table)}
    single = _single(table)
    verdicts = [true[rule.name].alias(rule.name) for rule in table.rules]
    finite = [
        true[f"{column.name}_finite"].alias(f"{column.name} is finite")
        for column in single
        if column.dtype.is_float()
    ]
    return _to_pandas(frame.with_columns(*verdicts, *finite).select(_gx_columns(table)))


def _to_pandas(frame: pl.DataFrame) -> "pd.DataFrame":
    return frame.to_pandas()


def _described(outcome: Any) -> str:
    config = outcome.expectation_config
    said = config.kwargs
    pair = f"{said['column_A']}, {said['column_B']}" if "column_A" in said else None
    subject = pair or said.get("column") or said.get("column_list") or "columns"
    found = outcome.result.get("unexpected_count")
    count = f": {found} of {outcome.result.get('element_count')} rows" if found is not None else ""
    return f"{config.type} ({subject}){count}"
