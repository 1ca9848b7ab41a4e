import {Component, markup, onWillStart, onWillUnmount, useRef, useState} from "@odoo/owl";
import {Dialog} from "@web/core/dialog/dialog";
import {_t} from "@web/core/l10n/translation";
import {useAutofocus, useService} from "@web/core/utils/hooks";

const PAUSE = 300;

/**
 * Edits one text of an event: names to insert beside it, below it what a room would
 * read, or where it breaks.
 */
export class MatrixTextEditor extends Component {
    static template = "mail_matrix.TextEditor";
    static components = {Dialog};
    static props = {
        close: Function,
        title: String,
        resModel: String,
        resId: {type: [Number, Boolean], optional: true},
        name: String,
        modelId: {type: [Number, Boolean], optional: true},
        source: String,
        onApply: Function,
    };

    setup() {
        this.orm = useService("orm");
        this.textarea = useRef("textarea");
        useAutofocus({refName: "textarea"});
        this.state = useState({
            source: this.props.source,
            search: "",
            groups: [],
            default: "",
            found: {},
        });
        onWillStart(async () => {
            const help = await this.call("get_matrix_text_help", []);
            Object.assign(this.state, help);
            await this.check();
        });
        onWillUnmount(() => clearTimeout(this.timer));
    }

    call(method, args) {
        const {resModel, resId, name, modelId} = this.props;
        return this.orm.silent.call(
            resModel,
            method,
            [resId ? [resId] : [], name, ...args],
            {model_id: modelId || false}
        );
    }

    get groups() {
        const wanted = this.state.search.toLowerCase();
        const fits = ({label, text}) => `${label} ${text}`.toLowerCase().includes(wanted);
        return this.state.groups
            .map((group) => ({...group, entries: group.entries.filter(fits)}))
            .filter((group) => group.entries.length);
    }

    get html() {
        // Made by the server of escaped text, as the room would get it.
        return markup(this.state.found.html);
    }

    get place() {
        const {line, column} = this.state.found;
        return line && _t("Line %(line)s, character %(column)s", {line, column});
    }

    /** What is broken, with the text before and after it in its lines. */
    get broken() {
        const {source} = this.state;
        const {start, end} = this.state.found;
        const from = source.lastIndexOf("\n", start - 1) + 1;
        const to = source.indexOf("\n", end);
        return {
            before: source.slice(start > 0 ? from : 0, start),
            part: source.slice(start, end),
            after: source.slice(end, to < 0 ? undefined : to),
        };
    }

    onInput() {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.check(), PAUSE);
    }

    async check() {
        const {source} = this.state;
        const found = await this.call("check_matrix_text", [source]);
        // An answer to what was typed before is of no use.
        if (source === this.state.source) {
            this.state.found = {...found, checked: source};
        }
    }

    insert(text) {
        const area = this.textarea.el;
        area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
        this.replace(area.value);
        area.focus();
    }

    replace(source) {
        this.state.source = source;
        clearTimeout(this.timer);
        return this.check();
    }

    showBroken() {
        const {start, end} = this.state.found;
        this.textarea.el.focus();
        this.textarea.el.setSelectionRange(start, end);
    }

    apply() {
        this.props.onApply(this.state.source);
        this.props.close();
    }
}
