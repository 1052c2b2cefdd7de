"""The lake: Delta tables of Parquet, validated on write, with time travel."""

from pipelines.lake.store import Lake, MonthFiles, TableInfo

__all__ = ["Lake", "MonthFiles", "TableInfo"]
