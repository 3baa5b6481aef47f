"""What plugin authors extend and receive; its names are public as `bench.NAME`."""
