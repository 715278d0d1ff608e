BEGIN TRANSACTION;
CREATE TABLE checkpoints (
	position INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	job_id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	step_number INTEGER NOT NULL, 
	model_name VARCHAR NOT NULL, 
	metrics JSON NOT NULL, 
	directory VARCHAR NOT NULL, 
	PRIMARY KEY (position), 
	UNIQUE (job_id, step_number), 
	UNIQUE (id), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "checkpoints" VALUES(1,'ftckpt_2R0ADT9hRlue0q7K7JIHXUvE','ftjob-vwSGV87rGDld339qAKt2tupI',1795353179,2,'ft:gpt-4o-mini-2024-07-18:retune:kept:Fw9NQt6S:ckpt-step-2','{"step": 2, "train_loss": 6.968306084157923, "train_mean_token_accuracy": 0.6470588235294118}','jobs/ftjob-vwSGV87rGDld339qAKt2tupI/epoch-0001');
INSERT INTO "checkpoints" VALUES(2,'ftckpt_CoI39shk7j5gBwY3BVPyTByF','ftjob-vwSGV87rGDld339qAKt2tupI',1795353179,4,'ft:gpt-4o-mini-2024-07-18:retune:kept:ifbwAvSC','{"step": 4, "train_loss": 1.4656098898096175, "train_mean_token_accuracy": 0.7058823529411765}','jobs/ftjob-vwSGV87rGDld339qAKt2tupI/epoch-0002');
CREATE TABLE events (
	position INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	job_id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	level VARCHAR NOT NULL, 
	type VARCHAR NOT NULL, 
	message VARCHAR NOT NULL, 
	data JSON NOT NULL, 
	step INTEGER, 
	PRIMARY KEY (position), 
	UNIQUE (job_id, step), 
	UNIQUE (id), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "events" VALUES(1,'ftevent-GK4VW8yTuUgu7Mt0jGBGZBjx','ftjob-vwSGV87rGDld339qAKt2tupI',1795353177,'info','message','Created fine-tuning job: ftjob-vwSGV87rGDld339qAKt2tupI','{}',NULL);
INSERT INTO "events" VALUES(2,'ftevent-q8FAHSii55GAH5zuDctZeNzC','ftjob-vwSGV87rGDld339qAKt2tupI',1795353177,'info','message','Validating training file: file-YhAqFtAgcFLS9LPrMO0KHRfz','{}',NULL);
INSERT INTO "events" VALUES(3,'ftevent-P5ZKlpD9q8BBRzuFOPFzxPWt','ftjob-vwSGV87rGDld339qAKt2tupI',1795353177,'info','message','Files validated, moving job to queued state','{}',NULL);
INSERT INTO "events" VALUES(4,'ftevent-PKb1l0jF5pZfBbB2EvBgohcY','ftjob-vwSGV87rGDld339qAKt2tupI',1795353177,'info','message','Fine-tuning job started','{}',NULL);
INSERT INTO "events" VALUES(5,'ftevent-92lJXfCi7yUQcT9Ap9opwhrh','ftjob-vwSGV87rGDld339qAKt2tupI',1795353178,'info','metrics','Step 1/4: training loss=5.27','{"step": 1, "total_steps": 4, "train_loss": 5.266049932031071, "train_mean_token_accuracy": 0.0}',1);
INSERT INTO "events" VALUES(6,'ftevent-l1hF0lyU4Ckv1VUuiwbmgaYI','ftjob-vwSGV87rGDld339qAKt2tupI',1795353178,'info','metrics','Step 2/4: training loss=6.97','{"step": 2, "total_steps": 4, "train_loss": 6.968306084157923, "train_mean_token_accuracy": 0.6470588235294118}',2);
INSERT INTO "events" VALUES(7,'ftevent-BqOnHHAsMTmhYJviTnG6aEbA','ftjob-vwSGV87rGDld339qAKt2tupI',1795353179,'info','message','Checkpoint created at step 2 with Snapshot ID: ft:gpt-4o-mini-2024-07-18:retune:kept:Fw9NQt6S:ckpt-step-2','{}',NULL);
INSERT INTO "events" VALUES(8,'ftevent-uadJPEVuLfD0ULn7BMK28kN5','ftjob-vwSGV87rGDld339qAKt2tupI',1795353179,'info','metrics','Step 3/4: training loss=2.66','{"step": 3, "total_steps": 4, "train_loss": 2.6612163269344498, "train_mean_token_accuracy": 0.23529411764705882}',3);
INSERT INTO "events" VALUES(9,'ftevent-s9lLYJi9oB7zEeGzaYn7gldV','ftjob-vwSGV87rGDld339qAKt2tupI',1795353179,'info','metrics','Step 4/4: training loss=1.47','{"step": 4, "total_steps": 4, "train_loss": 1.4656098898096175, "train_mean_token_accuracy": 0.7058823529411765}',4);
INSERT INTO "events" VALUES(10,'ftevent-AFoVBkVHdHYHIk9qfyLbaTgm','ftjob-vwSGV87rGDld339qAKt2tupI',1795353179,'info','message','New fine-tuned model created: ft:gpt-4o-mini-2024-07-18:retune:kept:ifbwAvSC','{}',NULL);
INSERT INTO "events" VALUES(11,'ftevent-70hsDejvHcbZKnMI4BSngimF','ftjob-vwSGV87rGDld339qAKt2tupI',1795353179,'info','message','The job has successfully completed','{}',NULL);
INSERT INTO "events" VALUES(12,'ftevent-jCPTeIx40Ijc9W0qeigSqbno','ftjob-IhfoCb0Ceta9zS1Zce5N8MYJ',1795353179,'info','message','Created fine-tuning job: ftjob-IhfoCb0Ceta9zS1Zce5N8MYJ','{}',NULL);
INSERT INTO "events" VALUES(13,'ftevent-RiUbJS9EBcvG6lqucGUg8Fas','ftjob-IhfoCb0Ceta9zS1Zce5N8MYJ',1795353179,'info','message','Validating training file: file-rqPEAmXwL9Qf65MS0Y7fFuw9','{}',NULL);
INSERT INTO "events" VALUES(14,'ftevent-y7DFy9FMLYrbUpvxgKbddI35','ftjob-IhfoCb0Ceta9zS1Zce5N8MYJ',1795353179,'info','message','Files validated, moving job to queued state','{}',NULL);
INSERT INTO "events" VALUES(15,'ftevent-8VzpGXv1wF6ip8mbf8CprCQO','ftjob-IhfoCb0Ceta9zS1Zce5N8MYJ',1795353179,'info','message','Fine-tuning job started','{}',NULL);
INSERT INTO "events" VALUES(16,'ftevent-fA8apiEVSB0CbMHURUWntsLs','ftjob-IhfoCb0Ceta9zS1Zce5N8MYJ',1795353179,'info','message','Fine-tuning job cancelled','{}',NULL);
CREATE TABLE files (
	position INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	bytes INTEGER NOT NULL, 
	created_at INTEGER NOT NULL, 
	expires_at INTEGER, 
	deleted_at INTEGER, 
	filename VARCHAR NOT NULL, 
	purpose VARCHAR NOT NULL, 
	PRIMARY KEY (position), 
	UNIQUE (id)
);
INSERT INTO "files" VALUES(1,'file-YhAqFtAgcFLS9LPrMO0KHRfz',1130,1795353177,NULL,NULL,'train.jsonl','fine-tune');
INSERT INTO "files" VALUES(2,'file-PYKjbTSWHVF0dNAvdKT46etw',144,1795353179,NULL,NULL,'step_metrics.csv','fine-tune-results');
INSERT INTO "files" VALUES(3,'file-2VVWGd12wHcRNBYI1HRBFifq',226,1795353179,NULL,1795353179,'train.jsonl','fine-tune');
INSERT INTO "files" VALUES(4,'file-rqPEAmXwL9Qf65MS0Y7fFuw9',57390,1795353179,NULL,NULL,'train.jsonl','fine-tune');
CREATE TABLE idempotency_keys (
	"key" VARCHAR NOT NULL, 
	request_hash VARCHAR NOT NULL, 
	object_id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "idempotency_keys" VALUES('a7bd6ab046d5812a6eea56c0048deece03743bc8ac804399d59ce8e67f1d0390','85bf4458aca15466dc5cd2a50d2b21908e3afb0a9a3d7657821dbb39fe14ead5','ftjob-vwSGV87rGDld339qAKt2tupI',1795353177);
CREATE TABLE job_metadata (
	job_position INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY (job_position, "key"), 
	FOREIGN KEY(job_position) REFERENCES jobs (position)
);
INSERT INTO "job_metadata" VALUES(1,'made','before');
CREATE TABLE jobs (
	position INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	finished_at INTEGER, 
	status VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	base_model VARCHAR NOT NULL, 
	base_directory VARCHAR, 
	model_name VARCHAR NOT NULL, 
	suffix VARCHAR, 
	seed INTEGER NOT NULL, 
	training_file VARCHAR NOT NULL, 
	validation_file VARCHAR, 
	requested_hyperparameters JSON NOT NULL, 
	hyperparameters JSON, 
	integrations JSON NOT NULL, 
	job_metadata JSON, 
	error JSON, 
	trained_tokens INTEGER, 
	result_file VARCHAR, 
	PRIMARY KEY (position), 
	UNIQUE (id), 
	UNIQUE (model_name)
);
INSERT INTO "jobs" VALUES(1,'ftjob-vwSGV87rGDld339qAKt2tupI',1795353177,1795353179,'succeeded','gpt-4o-mini-2024-07-18','gpt-4o-mini-2024-07-18',NULL,'ft:gpt-4o-mini-2024-07-18:retune:kept:ifbwAvSC','kept',1233186139,'file-YhAqFtAgcFLS9LPrMO0KHRfz',NULL,'{"n_epochs": 2, "batch_size": 5, "learning_rate_multiplier": "auto"}','{"n_epochs": 2, "batch_size": 5, "learning_rate_multiplier": 1.0}','[]','{"made": "before"}',NULL,830,'file-PYKjbTSWHVF0dNAvdKT46etw');
INSERT INTO "jobs" VALUES(2,'ftjob-IhfoCb0Ceta9zS1Zce5N8MYJ',1795353179,NULL,'cancelled','gpt-4o','gpt-4o',NULL,'ft:gpt-4o:retune::yVBwZSzk',NULL,586651537,'file-rqPEAmXwL9Qf65MS0Y7fFuw9',NULL,'{"n_epochs": 50, "batch_size": 1, "learning_rate_multiplier": "auto"}','{"n_epochs": 50, "batch_size": 1, "learning_rate_multiplier": 1.0}','[]',NULL,NULL,NULL,NULL);
CREATE TABLE models (
	position INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	base_model VARCHAR NOT NULL, 
	directory VARCHAR NOT NULL, 
	PRIMARY KEY (position), 
	UNIQUE (name)
);
INSERT INTO "models" VALUES(1,'ft:gpt-4o-mini-2024-07-18:retune:kept:Fw9NQt6S:ckpt-step-2',1795353179,'gpt-4o-mini-2024-07-18','jobs/ftjob-vwSGV87rGDld339qAKt2tupI/epoch-0001');
INSERT INTO "models" VALUES(2,'ft:gpt-4o-mini-2024-07-18:retune:kept:ifbwAvSC',1795353179,'gpt-4o-mini-2024-07-18','jobs/ftjob-vwSGV87rGDld339qAKt2tupI/epoch-0002');
CREATE INDEX ix_jobs_status ON jobs (status);
CREATE INDEX ix_jobs_training_file ON jobs (training_file);
CREATE INDEX job_metadata_by_pair ON job_metadata ("key", value);
CREATE INDEX events_by_job ON events (job_id, position);
PRAGMA user_version=1;
COMMIT;
