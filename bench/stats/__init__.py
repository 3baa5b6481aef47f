"""Statistics of scores, with numpy and scipy only."""
