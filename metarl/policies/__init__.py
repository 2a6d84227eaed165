"""What acts: policies over dicts of parameters, which never see a simulator or a learner."""
