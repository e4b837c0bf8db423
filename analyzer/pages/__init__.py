"""The pages of the app: layout only. Numbers come from `analyzer.views`, charts from `analyzer.report.charts`."""
