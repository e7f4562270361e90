"""What a training with no option set makes of data that it was not made for: ``make defaults``.

- ``problems``: tables, images and text, each with rows that are held out
- ``contestants``: omp_mlp with no option set, and scikit-learn
- ``measure``: scores and seconds
- ``tables``, ``pictures``: what is found
"""
