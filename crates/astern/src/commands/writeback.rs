//! `writeback`: what a run took back, said in the Git repositories that workloads are deployed from.

use super::look::write_private;
use super::tend::pick;
use crate::args::{self, Global};
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::{self, Format};
use crate::platform;
use crate::wiring::Wired;
use astern_app::writeback::{self, WriteBack};
use astern_exec::book::Book;
use astern_git::Git;
use astern_kubernetes::look::ClusterOrigins;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::RunId;
use astern_model::source::{Place, PullRequests, Source};
use astern_port::source::{Draft, Proposal, PullRequest, Share, SourceCode, SourceError, Sources};
use astern_report::{Line, LineKind};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What became of a run's revert.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    run: RunId,
    sources: Vec<ToldSource>,
    /// What no source is told, a sentence each.
    left: Vec<String>,
}

/// What became of it in one repository.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldSource {
    repository: String,
    /// The folders, from its root.
    paths: Vec<String>,
    /// Whether it says already what runs.
    unchanged: bool,
    places: Vec<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<ToldBranch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_request: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldBranch {
    name: String,
    /// The branch that it is to be merged into.
    into: String,
    commit: String,
    pushed: bool,
}

pub(crate) async fn writeback(
    global: &Global,
    wired: &Wired,
    arguments: &args::WriteBack,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let run = pick(wired, arguments.run.as_deref(), false).await?;
    let book = Book::open(&*wired.world.journal, &run).await?;
    let sources = platform::sources(global, &wired.platform)?;
    let origins = ClusterOrigins::new(wired.owners.clone());
    let wanted = writeback::write_back(&wired.world, &*wired.vault, &origins, &sources, &book).await?;
    let git = Git::new(&global.git);
    // All of them before the first push: what one refuses must not leave another half of the release.
    let mut drafts = Vec::new();
    for shares in &wanted.repositories {
        if arguments.pull_request && proposed_at(shares).is_none() {
            return Err(no_place(&shares[0].source).into());
        }
        drafts.push(draft(&git, shares, &wanted, false).await?);
    }
    let mut told = Told {
        run,
        sources: Vec::new(),
        left: wanted.left.clone(),
    };
    for (number, (shares, draft)) in (1..).zip(wanted.repositories.iter().zip(drafts)) {
        let work = Work {
            git: &git,
            book: &book,
            wanted: &wanted,
            arguments,
        };
        match work.carry_out(shares, draft, number).await {
            Ok(source) => told.sources.push(source),
            Err(error) => {
                // What is there already is told before what is not.
                tell(&told, &Format::Text, arguments, console)?;
                return Err(error);
            }
        }
    }
    tell(&told, format, arguments, console)?;
    Ok(Exit::Done)
}

/// The commit for one repository; none where it says already what runs.
async fn draft(
    git: &Git,
    shares: &[Share],
    wanted: &WriteBack,
    push: bool,
) -> Result<Option<Draft>, SourceError> {
    match git.write_back(shares, &wanted.commit, push).await {
        Ok(draft) => Ok(Some(draft)),
        Err(error) if error.code == SourceCode::Nothing => Ok(None),
        Err(error) => Err(error),
    }
}

struct Work<'a> {
    git: &'a Git,
    book: &'a Book,
    wanted: &'a WriteBack,
    arguments: &'a args::WriteBack,
}

impl Work<'_> {
    async fn carry_out(
        &self,
        shares: &[Share],
        draft: Option<Draft>,
        number: usize,
    ) -> Result<ToldSource, CliError> {
        let paths = shares.iter().map(|share| share.source.path.clone());
        let mut told = ToldSource {
            repository: shares[0].source.repository.clone(),
            paths: paths.collect(),
            unchanged: draft.is_none(),
            places: Vec::new(),
            branch: None,
            patch: None,
            text: None,
            pull_request: None,
        };
        let Some(mut draft) = draft else {
            return Ok(told);
        };
        let approval = self.book.run.approval.as_ref();
        let body = astern_report::revert_markdown(&self.book.id, &self.book.plan, approval, &draft.places);
        let (patch, text) = self.files(number)?;
        write_private(&patch, draft.patch.as_bytes())?;
        write_private(&text, body.as_bytes())?;
        if self.arguments.push
            && let Some(pushed) = self::draft(self.git, shares, self.wanted, true).await?
        {
            draft = pushed;
        }
        if let (true, Some((source, at))) = (self.arguments.pull_request, proposed_at(shares)) {
            let proposal = Proposal {
                branch: &draft.branch,
                base: &draft.into,
                title: &self.wanted.commit.subject,
                body: &body,
            };
            let PullRequest { url, .. } = self.git.propose(source, at, proposal).await?;
            told.pull_request = Some(url);
        }
        told.places = draft.places;
        told.patch = Some(patch);
        told.text = Some(text);
        told.branch = Some(ToldBranch {
            name: draft.branch,
            into: draft.into,
            commit: draft.commit,
            pushed: draft.pushed,
        });
        Ok(told)
    }

    /// Where the patch and the text go. A run with several sources has several of each.
    fn files(&self, number: usize) -> Result<(PathBuf, PathBuf), CliError> {
        let folder = match &self.arguments.folder {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| {
                    CliError::input(format!("{} cannot be made", folder.display())).cause(error.to_string())
                })?;
                folder.clone()
            }
            None => crate::runner::state_folder()?,
        };
        let name = if number == 1 {
            self.book.id.to_string()
        } else {
            format!("{}-{number}", self.book.id)
        };
        Ok((
            folder.join(format!("{name}.patch")),
            folder.join(format!("{name}.md")),
        ))
    }
}

fn tell(
    told: &Told,
    format: &Format,
    arguments: &args::WriteBack,
    console: &Console,
) -> Result<(), CliError> {
    output::print(
        console,
        format,
        "WriteBack",
        told,
        || lines(told, arguments),
        || astern_report::joined(&lines(told, arguments)),
    )
}

fn lines(told: &Told, arguments: &args::WriteBack) -> Vec<Line> {
    let mut lines = Vec::new();
    for source in &told.sources {
        let title = format!("{} {}", source.repository, source.paths.join(", "));
        lines.push(Line::new(LineKind::Title, title.trim_end()));
        if source.unchanged {
            lines.push(Line::new(LineKind::Good, "it says already what runs"));
        }
        lines.extend(astern_report::place_lines(&source.places));
        if let Some(branch) = &source.branch {
            lines.push(branch_line(branch));
        }
        if let Some(url) = &source.pull_request {
            lines.push(Line::new(LineKind::Good, format!("pull request: {url}")));
        }
        let files = [
            ("patch", &source.patch),
            ("text for a pull request", &source.text),
        ];
        for (what, file) in files {
            lines.extend(file.as_deref().map(|file| file_line(what, file)));
        }
    }
    lines.extend(told.left.iter().map(|left| Line::new(LineKind::Warn, left)));
    let waits = told.sources.iter().any(|source| source.branch.is_some());
    if waits && !arguments.push {
        let command = format!("astern writeback {} --push", told.run);
        lines.push(Line::new(
            LineKind::Text,
            format!("nothing was pushed; {command}   pushes it"),
        ));
    }
    lines
}

fn branch_line(branch: &ToldBranch) -> Line {
    let ToldBranch {
        name, into, commit, ..
    } = branch;
    let short: String = commit.chars().take(12).collect();
    if branch.pushed {
        Line::new(
            LineKind::Good,
            format!("branch {name} is there (commit {short}); {into} waits for it to be merged"),
        )
    } else {
        Line::new(
            LineKind::Text,
            format!("it would be commit {short} on a new branch {name}, to be merged into {into}"),
        )
    }
}

fn file_line(what: &str, file: &Path) -> Line {
    Line::new(LineKind::Dim, format!("{what}: {}", file.display()))
}

/// Where the pull request of a repository is opened, by the source that says so.
fn proposed_at(shares: &[Share]) -> Option<(&Source, &PullRequests)> {
    let mut sources = shares.iter().map(|share| &share.source);
    sources.find_map(|source| Some((source, source.pull_requests.as_ref()?)))
}

fn no_place(source: &Source) -> SourceError {
    SourceError {
        code: SourceCode::PullRequest,
        failure: Failure::new(
            FailureClass::Refused,
            format!("open a pull request for {}", source.repository),
            "it is not known where",
        )
        .hint(
            "name it at the source in astern.yaml: pullRequests: {api: https://HOST/api/v3, repository: OWNER/NAME}; \
             nothing was pushed",
        ),
    }
}
