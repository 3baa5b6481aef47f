"""Datasets: labelled images with a train and a test part."""
