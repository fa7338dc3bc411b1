"""Do searches without a GPU and without a language model find winners, and are they right?"""
