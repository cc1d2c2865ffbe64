"""From photographs of single plants and of vegetation plots to a list of species per plot, as Dagster assets."""
