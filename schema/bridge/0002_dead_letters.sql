-- What has still to go to the dead letters is found without a look at everything that was ever parked.
CREATE INDEX parked_dead_letters ON parked (sequence, sink)
  WHERE state = 'refused' AND dead_lettered = 0;
