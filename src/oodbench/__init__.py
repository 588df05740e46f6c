"""When a classifier meets something it was never taught, does it know?"""
