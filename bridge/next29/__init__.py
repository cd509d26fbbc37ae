"""29next's Admin API: its calls, its answers and its errors."""
