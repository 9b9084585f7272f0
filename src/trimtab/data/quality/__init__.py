"""Data quality: what is wrong with bars, one file per kind of fault. `trimtab.data.validation` puts them together."""
